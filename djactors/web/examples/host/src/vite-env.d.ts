interface ImportMetaEnv {
  readonly VITE_DJACTORS_URL: string
}
