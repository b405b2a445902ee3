import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { strToU8, zipSync } from 'fflate';
import { parseArchive } from '../../../services/workspaces/archive/import-archive.ts';
import { readArchive } from '../../../services/workspaces/archive/read-archive.ts';
import { unzip } from '../../../services/workspaces/archive/unzip.ts';
import { archiveOf } from '../../../services/workspaces/archive/write-archive.ts';
import { fromTexts, type Snapshot } from '../../../services/workspaces/store/snapshot.ts';

const INDEX = 'name: One\nslug: one\n';
const zipped = (entries: Record<string, string>): Buffer =>
  Buffer.from(zipSync(Object.fromEntries(Object.entries(entries).map(([name, text]) => [name, strToU8(text)]))));
const failure = (work: () => unknown): { type: string; message: string; data: Record<string, unknown> } => {
  try {
    work();
  } catch (error) {
    return error as never;
  }
  throw new Error('nothing was refused');
};

describe('archives nobody has checked', () => {
  it('opens a workspace with and without a root folder', () => {
    for (const root of ['', 'current/', 'v1.2/']) {
      const files = readArchive(zipped({ [`${root}index.yml`]: INDEX, [`${root}automations/a/b.yml`]: 'name: B\ndo: []\n' }));

      expect(files.map(({ path }) => path).sort()).toEqual(['automations/a/b.yml', 'index.yml']);
    }
  });

  it('ignores what is not ours, however it looks', () => {
    const files = readArchive(
      zipped({
        'current/index.yml': INDEX,
        'current/pages/x/src/App.tsx': 'export {}',
        'current/central-oauth/thing.yml': 'a: 1',
        'current/agent.yml': 'a: 1',
        'current/automations/__index__.yml': 'a: {}',
        'current/runtime.yml': 'a: 1',
        '__MACOSX/current/index.yml': 'x',
      }),
    );

    expect(files.map(({ path }) => path)).toEqual(['index.yml']);
  });

  it.each([
    ['../evil.yml', 'a name that climbs out'],
    ['current/../../index.yml', 'a name that climbs out in the middle'],
    ['/etc/passwd', 'an absolute name'],
    ['C:/x.yml', 'a drive'],
    ['current\\index.yml', 'a backslash'],
    ['current/./index.yml', 'a dot segment'],
  ])('refuses %s (%s), naming it', (name) => {
    expect(failure(() => unzip(zipped({ [name]: 'x' })))).toMatchObject({ type: 'InvalidUploadError', data: { entry: name } });
  });

  it('refuses two names that are one where case does not count', () => {
    expect(failure(() => unzip(zipped({ 'current/a.yml': '1', 'current/A.yml': '2' })))).toMatchObject({
      type: 'InvalidUploadError',
      data: { entry: 'current/A.yml' },
    });
  });

  it('refuses symbolic links', () => {
    const archive = Buffer.from(zipSync({ link: [strToU8('/etc/passwd'), { os: 3, attrs: (0o120777 << 16) >>> 0 }] }));

    expect(failure(() => unzip(archive))).toMatchObject({
      type: 'InvalidUploadError',
      message: expect.stringContaining('symbolic link'),
      data: { entry: 'link' },
    });
  });

  it('refuses a bomb before it is inflated, by size, total and count', () => {
    const limits = { entries: 3, entryBytes: 1000, totalBytes: 1500 };

    expect(failure(() => unzip(zipped({ a: 'x'.repeat(5000) }), () => true, limits))).toMatchObject({
      type: 'PayloadTooLarge',
      data: { entry: 'a' },
    });
    expect(failure(() => unzip(zipped({ a: 'x'.repeat(900), b: 'x'.repeat(900) }), () => true, limits))).toMatchObject({
      type: 'PayloadTooLarge',
      data: { entry: 'b' },
    });
    expect(failure(() => unzip(zipped({ a: '', b: '', c: '', d: '' }), () => true, limits))).toMatchObject({
      type: 'PayloadTooLarge',
      data: { entries: 4 },
    });
  });

  it('refuses an entry that holds more than its directory says', () => {
    const archive = zipped({ a: 'x'.repeat(100_000) });
    const central = archive.indexOf(Buffer.from([0x50, 0x4b, 0x01, 0x02]));
    archive.writeUInt32LE(10, central + 24);

    expect(failure(() => unzip(archive))).toMatchObject({ type: 'InvalidUploadError', data: { entry: 'a' } });
  });

  it('refuses what is not a zip, damaged bytes and names in another encoding', () => {
    expect(failure(() => unzip(Buffer.from('hello')))).toMatchObject({ type: 'InvalidUploadError' });
    expect(failure(() => unzip(zipped({ a: 'x'.repeat(500) }).subarray(0, 60)))).toMatchObject({ type: 'InvalidUploadError' });
    const latin = zipped({ 'caf_.yml': 'x' });
    for (let at = latin.indexOf('caf_'); at >= 0; at = latin.indexOf('caf_', at + 1)) latin[at + 3] = 0xe9;
    expect(failure(() => unzip(latin))).toMatchObject({ type: 'InvalidUploadError', message: expect.stringContaining('UTF-8') });
  });

  it('never crashes, whatever bytes it is given', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(), fc.nat(255), (noise, at, byte) => {
        const archive = zipped({ 'current/index.yml': INDEX, 'current/automations/a.yml': 'name: A\ndo: []\n' });
        archive[at % archive.length] = byte;
        for (const bytes of [Buffer.from(noise), archive]) {
          try {
            readArchive(bytes);
          } catch (error) {
            expect(['InvalidUploadError', 'PayloadTooLarge', 'PrismeError']).toContain((error as { type: string }).type);
          }
        }
      }),
    );
  });

  it('reports a file with a fault and reads the others; an index with a fault refuses all', async () => {
    const parsed = await parseArchive(
      readArchive(
        zipped({
          'current/index.yml': INDEX,
          'current/automations/good.yml': 'name: Good\narguments:\ndo: []\n',
          'current/automations/bad.yml': 'name: [',
          'current/automations/nodo.yml': 'name: No do\n',
          'current/automations/proto.yml': 'name: P\ndo: []\n__proto__: { x: 1 }\n',
          'current/automations/bomb.yml': `name: B\ndo: []\na: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n`,
        }),
      ),
    );

    expect(parsed.objects.map(({ slug, value }) => [slug, value.arguments])).toEqual([['good', {}]]);
    expect(parsed.errors.map(({ filepath, err }) => [filepath, err]).sort()).toEqual([
      ['automations/bad.yml', 'RequestValidationError'],
      ['automations/bomb.yml', 'RequestValidationError'],
      ['automations/nodo.yml', 'RequestValidationError'],
      ['automations/proto.yml', 'RequestValidationError'],
    ]);
    await expect(
      parseArchive(readArchive(zipped({ 'current/index.yml': 'name: [', 'current/automations/a.yml': 'name: A\ndo: []\n' }))),
    ).rejects.toMatchObject({ type: 'RequestValidationError' });
  });
});

describe('export', () => {
  const json = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: 'small' },
      fc.constant(null),
      fc.boolean(),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.string({ unit: 'grapheme' }),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(fc.stringMatching(/^[a-z$]{1,8}$/), tie('value'), { maxKeys: 3 }),
    ),
  })).value;
  const slug = fc.stringMatching(/^[a-z0-9]{1,6}(\/[a-z0-9]{1,6})?$/).filter((name) => name !== 'constructor');
  const automation = fc
    .record({ name: fc.stringMatching(/^[A-Z][a-z ]{0,10}[a-z]$/), do: fc.array(fc.record({ set: json }), { maxLength: 4 }), output: json })
    .map((value) => JSON.parse(JSON.stringify(value)));

  it('then import, then export gives the same bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.dictionary(slug, automation, { maxKeys: 6 }), async (automations) => {
        const before = { ...(await fromTexts(new Map([['index.yml', INDEX]]), 1)), automations: { ...automations } } as Snapshot;
        const options = { workspaceId: 'w1', version: 'current', exportedAt: '2026-01-01T00:00:00.000Z' };
        const first = archiveOf(before, options);

        const parsed = await parseArchive(readArchive(first));
        expect(parsed.errors).toEqual([]);
        const after = {
          ...before,
          index: parsed.index?.value ?? {},
          automations: Object.fromEntries(parsed.objects.map((object) => [object.slug, object.value])),
        } as Snapshot;

        expect(after.automations).toEqual(before.automations);
        expect(archiveOf(after, options).equals(first)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });
});
