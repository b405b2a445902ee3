/**
 * repeatable — for actions that only look: when the node that was asked is lost, whoever asked asks another one, instead of failing with it.
 * An action says so itself (`retryPolicy: REPEATABLE`), as it alone knows that doing it twice does no harm. Without other nodes nothing is repeated.
 */
export const REPEATABLE = { retries: 2 } as const;
