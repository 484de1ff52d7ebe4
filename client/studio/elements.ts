/**
 * Elements of the page by id and kind, and new ones with their text. Never markup from strings.
 */

/** The element of an id. @throws Error where the page and the script do not belong together. */
export function byId<T extends HTMLElement>(id: string, kind: new () => T): T {
  const element = document.getElementById(id)
  if (element instanceof kind) return element
  throw new Error(`page: #${id} is ${element?.tagName ?? 'missing'}, wanted is ${kind.name}`)
}

/** A new element with properties and children. */
export function create<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = Object.assign(document.createElement(tag), properties)
  element.append(...children)
  return element
}

/** Fills a select; keeps what was chosen where it is still there. */
export function fill(select: HTMLSelectElement, options: readonly (readonly [value: string, text: string])[]): void {
  const chosen = select.value
  select.replaceChildren(...options.map(([value, text]) => create('option', { value, textContent: text })))
  if (options.some(([value]) => value === chosen)) select.value = chosen
}
