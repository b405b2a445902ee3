// One project per layer of tests (see test/README.md): `npm run test:unit`, `npm run test:contract`, …
const layer = (displayName, timeout = 20_000) => ({
  displayName,
  testEnvironment: 'node',
  testMatch: [`<rootDir>/test/${displayName}/**/*.test.ts`],
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '\\.ts$': '<rootDir>/test/support/strip.mjs' },
  setupFilesAfterEnv: ['<rootDir>/test/support/setup.ts'],
  globals: { TEST_TIMEOUT_MS: timeout },
});

export default {
  projects: [
    layer('unit'),
    layer('contract', 60_000),
    layer('conformance'),
    layer('integration', 60_000),
    layer('e2e', 120_000),
    layer('crash', 300_000),
  ],
  coverageProvider: 'v8',
  // Two cores: more workers only make timing-sensitive suites wait for each other.
  maxWorkers: 2,
};
