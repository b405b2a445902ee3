/** The files that no code imports: the compose file, the package file, the scripts' promises. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { SETTINGS, type Setting } from '../../mixins/shared/config.ts';

const root = join(import.meta.dirname, '../..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');

describe('docker-compose.yml', () => {
  const compose = parse(read('docker-compose.yml'), { merge: true });

  it('describes the four parts and their stores', () => {
    expect(Object.keys(compose.services).sort()).toEqual([
      'elasticsearch',
      'events',
      'gateway',
      'minio',
      'mongo',
      'redis',
      'runtime',
      'workspaces',
    ]);
  });

  it('gives every service an image, and waits only for services that exist', () => {
    for (const service of Object.values<any>(compose.services)) {
      expect(service.image).toMatch(/^[\w./-]+:[\w.-]+$/);
      for (const other of Object.keys(service.depends_on ?? {})) expect(Object.keys(compose.services)).toContain(other);
      for (const volume of service.volumes ?? [])
        if (!volume.startsWith('.')) expect(Object.keys(compose.volumes)).toContain(volume.split(':')[0]);
    }
  });

  it('publishes the gateway only', () => {
    const published = Object.entries<any>(compose.services).filter(([, service]) => service.ports);

    expect(published.map(([name]) => name)).toEqual(['gateway']);
  });

  it('sets only variables that the configuration knows', () => {
    const known = new Set(Object.values(SETTINGS as Record<string, Setting>).flatMap(({ env, aliases }) => [env, ...(aliases ?? [])]));

    for (const part of ['gateway', 'events', 'runtime', 'workspaces'])
      for (const name of Object.keys(compose.services[part].environment)) expect([...known]).toContain(name);
  });

  it('keeps events on disk and evicts nothing', () => {
    expect(compose.services.redis.command.join(' ')).toContain('--appendonly yes');
    expect(compose.services.redis.command.join(' ')).toContain('--maxmemory-policy noeviction');
  });
});

describe('package.json', () => {
  const manifest = JSON.parse(read('package.json'));
  const lock = JSON.parse(read('package-lock.json'));

  it('pins every dependency to one version', () => {
    for (const version of Object.values({ ...manifest.dependencies, ...manifest.devDependencies, ...manifest.optionalDependencies }))
      expect(version).toMatch(/^\d+\.\d+\.\d+$/);
  });

  it('has a lock file without addresses of registries', () => {
    expect(read('package-lock.json')).not.toMatch(/"resolved"/);
    for (const [name, { integrity, link }] of Object.entries<any>(lock.packages))
      if (name && !link) expect({ name, integrity }).toEqual({ name, integrity: expect.any(String) });
  });
});

describe('a wrong Node', () => {
  /** The script as that version of Node would run it. */
  const runAs = (version: string, script: string, ...args: string[]) => {
    const pretend = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${version}' } }); Object.defineProperty(process, 'version', { value: 'v${version}' })`;
    return spawnSync(process.execPath, ['--import', `data:text/javascript,${encodeURIComponent(pretend)}`, join(root, script), ...args], {
      encoding: 'utf8',
    });
  };

  it.each(['18.20.0', '22.11.0', '26.1.0'])('%s is refused by the scripts in one line that names the way out', (version) => {
    const { status, stderr } = runAs(version, 'scripts/preflight.mjs');

    expect(status).toBe(1);
    expect(stderr.trim().split('\n')).toEqual([
      expect.stringMatching(new RegExp(`^Node 24\\.21 or later .* this is v${version}\\. .*npm start`)),
    ]);
  });

  it('that is too old to start at all is refused before anything is installed', () => {
    const { status, stderr, stdout } = runAs('18.20.0', 'scripts/launch.mjs', 'start');

    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr.trim().split('\n')).toEqual([expect.stringMatching(/^Node 20 or later is needed/)]);
  });
});
