/**
 * What Vite puts in the place of import.meta.env and of the build's constants.
 */

interface ImportMeta {
  readonly env: { readonly MODE: string }
}

/** Keys of which one signed the weights of this build (signing.ts). */
declare const __MANIFEST_KEYS__: readonly string[]
