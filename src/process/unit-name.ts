/** Unit names appear in paths, metadata and environment variables, so they are kept plain. */
export const UNIT_NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/
