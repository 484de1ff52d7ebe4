/**
 * Random names: a prefix and 130 bits, in letters and digits that survive any path, header or file name.
 */

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'

export type IdPrefix = 'vid' | 'ast' | 'tok' | 'req' | 'whe' | 'key' | 'msg'

/** `length` characters of 5 random bits each. */
export const randomText = (length: number): string =>
  [...crypto.getRandomValues(new Uint8Array(length))].map((byte) => alphabet[byte & 31]).join('')

/** A fresh id. */
export const newId = (prefix: IdPrefix): string => `${prefix}_${randomText(26)}`

/** Whether a text could be an id of ours; what is not is unknown, without asking anyone. */
export const isId = (prefix: IdPrefix, text: string): boolean => new RegExp(`^${prefix}_[a-z2-7]{26}$`).test(text)
