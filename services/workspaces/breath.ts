/** breath — long work on the main thread in slices, so that other requests of the process are served in between. */

const SLICE_MS = 12;

/** A function to await between steps: gives the event loop a turn when the slice is used up. */
export function breather(now: () => number = performance.now.bind(performance)): () => Promise<void> | undefined {
  let startedAt = now();
  return () => {
    if (now() - startedAt < SLICE_MS) return undefined;
    return new Promise((resolve) =>
      setImmediate(() => {
        startedAt = now();
        resolve();
      }),
    );
  };
}
