/** secret-place — the place a secret is sealed for: its text opens there and nowhere else. The runtime opens it under the same name (contract.ts). */
export const placeOf = (workspaceId: string, name: string): string => `secret/${workspaceId}/${name}`;
