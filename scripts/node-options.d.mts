export const nodeFlags: string[];
export function nodeEnvironment(root: string, given?: NodeJS.ProcessEnv): NodeJS.ProcessEnv;
