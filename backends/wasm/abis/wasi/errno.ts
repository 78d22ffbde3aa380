/** Of WASI's error numbers, those that are given. */
export const errno = {
  success: 0,
  badFileDescriptor: 8,
  invalid: 28,
  notDirectory: 54,
  notSupported: 58,
  notSeekable: 70,
  notCapable: 76,
} as const;
