/**
 * An API key that is good in a development start which was told so, and nowhere else.
 */

/** The last eight digits are its checksum. */
export const developmentKey = `zoe_test_${'a'.repeat(12)}_${'b'.repeat(32)}9c6807f2`
