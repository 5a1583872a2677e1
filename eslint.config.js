import tseslint from 'typescript-eslint'

/** Globals that reach for time, chance or the network behind a seam's back. */
const AMBIENT = ['setTimeout', 'setInterval', 'setImmediate', 'Date', 'performance', 'fetch', 'queueMicrotask']

export default tseslint.config(
  {
    ignores: [
      'dist',
      'src/*/gen',
      'node_modules',
      'scripts',
      'test/fixtures',
      '**/*.mjs',
      '*.js',
      '*.cjs',
      '.tap',
      '.cache',
    ],
  },
  ...tseslint.configs.strictTypeChecked,
  { languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } } },
  {
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/only-throw-error': 'error',
      'max-lines-per-function': ['warn', { max: 70, skipBlankLines: true, skipComments: true }],
    },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/base/system-*.ts', 'src/sim/sim-clock.ts'],
    rules: {
      'no-restricted-globals': [
        'error',
        ...AMBIENT.map((name) => ({ name, message: 'Take it from a seam: Clock, Random, Http.' })),
      ],
      'no-restricted-properties': ['error', { object: 'Math', property: 'random', message: 'Use Random.' }],
    },
  },
  {
    files: ['src/**/*.ts'],
    rules: {
      'no-restricted-syntax': [
        'error',
        {
          selector: 'ImportDeclaration[source.value="zod"] > ImportSpecifier[imported.name="z"]',
          message: 'import * as z: the export z keeps all of zod in the bundle.',
        },
      ],
    },
  },
  {
    files: ['test/**/*.ts', 'bench/**/*.ts'],
    rules: { 'max-lines-per-function': 'off', '@typescript-eslint/no-floating-promises': 'off' },
  },
)
