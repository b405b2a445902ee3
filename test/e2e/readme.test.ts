/** The README and the example's own README, pasted into a shell as they stand: only the address of the platform is another. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { zipFolder } from '../support/archive.ts';
import { expectOk, signIn } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { ADMIN, type Platform, startPlatform } from '../support/platform.ts';

const root = join(import.meta.dirname, '../..');
const WRITTEN = 'http://127.0.0.1:3001/v2';

/** The first code block under a heading (or of the file). */
function block(file: string, heading?: string): string {
  const text = readFileSync(join(root, file), 'utf8');
  const from = heading === undefined ? 0 : text.indexOf(`\n## ${heading}\n`);
  expect(from).toBeGreaterThanOrEqual(0);
  return (/```(?:bash|sh)\n([\s\S]*?)```/.exec(text.slice(from)) as RegExpExecArray)[1] as string;
}

const paste = (script: string) =>
  new Promise<{ stdout: string; stderr: string }>((resolve, reject) => {
    const shell = spawn('bash', ['-s'], { stdio: ['pipe', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    shell.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    shell.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    shell.once('error', reject);
    shell.once('close', () => resolve({ stdout, stderr }));
    shell.stdin.end(script);
  });

describe('what the documentation says to paste', () => {
  let platform: Platform;

  beforeAll(async () => {
    platform = await startPlatform({ mode: 'embedded' });
  }, 90_000);
  afterAll(() => platform?.stop(), 30_000);

  it('README: makes an account, a workspace and an automation, calls it and finds its event', async () => {
    const script = block('README.md', 'A first workspace');
    expect(script).toContain(WRITTEN);

    // A busy machine may need longer than the second the README gives the history: its last command again, until it shows something.
    const lines = script.replaceAll(WRITTEN, platform.url).trim().split('\n');
    const search = (lines.pop() as string).replace(/; echo$/, '');
    const { stdout } = await paste(
      [
        ...lines,
        `for n in $(seq 60); do found=$(${search}); case $found in *visitor.greeted*) break;; esac; sleep 0.5; done; echo "$found"`,
      ].join('\n'),
    );

    const [answer, history] = stdout.trim().split('\n') as [string, string];
    expect(JSON.parse(answer)).toEqual({ message: 'Hello Ada' });
    expect(JSON.parse(history).result.events).toEqual([expect.objectContaining({ type: 'visitor.greeted', payload: { name: 'Ada' } })]);
  }, 60_000);

  it('the example: its commands work on its workspace', async () => {
    const admin = await signIn(platform.url, ADMIN);
    const made = await expectOk(
      admin.upload('/workspaces/import', 'archive', 'workspace.zip', zipFolder(join(root, 'examples/hello-world'))),
    );
    expect(made.errors).toEqual([]);
    await eventually(async () => (await admin.get('/workspaces/slug:hello-world/webhooks/report')).status === 200);

    const { stdout } = await paste(block('examples/hello-world/README.md').replaceAll(WRITTEN, platform.url).replaceAll(/$/gm, '; echo'));

    const [hello, report] = stdout.trim().split('\n').filter(Boolean) as [string, string];
    expect(JSON.parse(hello)).toEqual({ message: 'Hello Ada!' });
    expect(JSON.parse(report)).toMatchObject({ suggestions: ['Hello Ada!', 'Hello Grace!', 'Hello Alan!'] });
  }, 60_000);
});
