/**
 * What axe-core finds wrong with a page, in light and in dark.
 *
 * It is put into the page by the debugger, before the page's own scripts, so that the page's policy stays as it is.
 */

import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import type { BrowserContext, Page } from 'playwright'

interface Found {
  readonly id: string
  readonly nodes: readonly { readonly target: readonly unknown[]; readonly failureSummary?: string }[]
}
interface Axe {
  run(): Promise<{ readonly violations: readonly Found[] }>
}

/** Readies a context; pages opened afterwards can be audited. */
export async function withAxe(context: BrowserContext): Promise<void> {
  const source = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
  await context.addInitScript({ content: source })
}

/** Every violation as one line: scheme, rule and where. */
export async function audit(page: Page): Promise<string[]> {
  const lines: string[] = []
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    const { violations } = await page.evaluate(() => (globalThis as unknown as { axe: Axe }).axe.run())
    for (const { id, nodes } of violations)
      for (const { target, failureSummary } of nodes)
        lines.push(`${colorScheme}: ${id} at ${target.join(' ')}: ${failureSummary ?? ''}`)
  }
  return lines
}
