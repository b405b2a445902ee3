/** Runs before each test file: the time-out of the layer (see jest.config.mjs). */
import { jest } from '@jest/globals';

declare const TEST_TIMEOUT_MS: number;
jest.setTimeout(TEST_TIMEOUT_MS);
