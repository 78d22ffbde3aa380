/* The Direct ABI of Millrace, for C. The whole contract is in docs/wasm-authors.md. */
#ifndef MILLRACE_H
#define MILLRACE_H

typedef unsigned char u8;
typedef unsigned int u32;
typedef int i32;
typedef unsigned long long u64;

#define MILLRACE_IMPORT(name) __attribute__((import_module("millrace"), import_name(#name)))
#define MILLRACE_EXPORT(name) __attribute__((export_name(#name)))

/* Reading: writes at most `capacity` bytes to `buffer` and returns the whole length in bytes. */
MILLRACE_IMPORT(content_type) u32 millrace_content_type(void *buffer, u32 capacity);
MILLRACE_IMPORT(options) u32 millrace_options(void *buffer, u32 capacity);
MILLRACE_IMPORT(metadata) u32 millrace_metadata(void *buffer, u32 capacity);
MILLRACE_IMPORT(context) u32 millrace_context(void *buffer, u32 capacity);
/* The same for one metadata entry; -1 when there is no such key. */
MILLRACE_IMPORT(metadata_value)
i32 millrace_metadata_value(const void *key, u32 key_length, void *buffer, u32 capacity);

/* And for one of the Processor's secrets, by the name in its spec. */
MILLRACE_IMPORT(secret)
i32 millrace_secret(const void *name, u32 name_length, void *buffer, u32 capacity);

/* Writing: everything is copied before the call returns. */
MILLRACE_IMPORT(set_content_type) void millrace_set_content_type(const void *type, u32 length);
MILLRACE_IMPORT(set_metadata)
void millrace_set_metadata(const void *key, u32 key_length, const void *value, u32 value_length);
MILLRACE_IMPORT(set_error)
void millrace_set_error(const void *code, u32 code_length, const void *message, u32 message_length, i32 retryable);
/* Adds to the attempt's log: a line, or several. */
MILLRACE_IMPORT(log) void millrace_log(const void *text, u32 length);

/* What the entrypoint returns: the pointer in the upper 32 bits, the length in the lower. */
static inline u64 millrace_result(const void *pointer, u32 length) {
  return (u64)(u32)pointer << 32 | length;
}

#endif
