/**
 * The version that receipts name; a test holds it to package.json.
 */

export const zoetropeVersion = '0.1.0'
