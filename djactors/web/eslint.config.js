import js from '@eslint/js'
import hooks from 'eslint-plugin-react-hooks'
import globals from 'globals'

const jsx = { parserOptions: { ecmaFeatures: { jsx: true } } }
// The core rules do not see that a name is used when it is only used as a tag.
const unused = ['error', { varsIgnorePattern: '^[A-Z_]', argsIgnorePattern: '^(_|[A-Z])' }]

export default [
  { ignores: ['**/dist/'] },
  js.configs.recommended,
  {
    files: ['src/**/*.{js,jsx}', 'packages/react/src/**/*.{js,jsx}', 'tests/**/*.{js,jsx}'],
    languageOptions: { ...jsx, globals: globals.browser },
    plugins: { 'react-hooks': hooks },
    rules: { ...hooks.configs.recommended.rules, 'no-unused-vars': unused },
  },
  { files: ['*.js', 'scripts/*.js', 'packages/*/scripts/*.js'], languageOptions: { globals: globals.node } },
]
