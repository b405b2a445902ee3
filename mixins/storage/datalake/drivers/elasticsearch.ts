import type { DatalakeDriver } from '../contract.ts';
export async function elasticsearchDatalake(_options: { url: string; namespace: string }): Promise<DatalakeDriver> {
  throw new Error('to come');
}
