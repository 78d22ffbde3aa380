/* Counts the lines and words of a text. The option `minimum` is how many words there must be. */
#include "millrace.h"

extern u8 __heap_base;

static u8 *next;
static u32 answered;

/* A call's memory is free again when the next one comes: only then has the host read the result. */
MILLRACE_EXPORT(millrace_alloc) void *millrace_alloc(u32 length) {
  if (!next || answered) next = &__heap_base;
  answered = 0;
  u8 *start = next;
  u64 end = ((u64)(u32)start + length + 15) & ~(u64)15;
  u64 size = (u64)__builtin_wasm_memory_size(0) << 16;
  if (end > size && __builtin_wasm_memory_grow(0, (end - size + 65535) >> 16) == (u32)-1) return 0;
  next = (u8 *)(u32)end;
  return start;
}

/* Text in parts; 128 bytes hold every line that is built here. */
typedef struct {
  u8 bytes[128];
  u32 length;
} line;

static void put(line *to, const char *text) {
  for (; *text; text++) to->bytes[to->length++] = (u8)*text;
}

static void put_number(line *to, u32 value) {
  u8 digits[10];
  u32 count = 0;
  do digits[count++] = (u8)('0' + value % 10);
  while (value /= 10);
  while (count) to->bytes[to->length++] = digits[--count];
}

/* The number after `"minimum":` in the options, 0 without it. */
static u32 minimum(void) {
  static const char key[] = "\"minimum\":";
  u32 length = millrace_options(0, 0), value = 0;
  u8 *json = millrace_alloc(length);
  millrace_options(json, length);
  for (u32 at = 0; at + sizeof key - 1 <= length; at++) {
    u32 same = 0;
    while (same < sizeof key - 1 && json[at + same] == (u8)key[same]) same++;
    if (same < sizeof key - 1) continue;
    for (at += same; at < length && json[at] >= '0' && json[at] <= '9'; at++) value = value * 10 + (json[at] - '0');
  }
  return value;
}

static u64 give_up(u32 words, u32 least) {
  line message = {.length = 0};
  put(&message, "the text has ");
  put_number(&message, words);
  put(&message, " words, fewer than ");
  put_number(&message, least);
  millrace_set_error("TooShort", 8, message.bytes, message.length, 0);
  answered = 1;
  return 0;
}

MILLRACE_EXPORT(process) u64 process(const u8 *input, u32 length) {
  u32 lines = 0, words = 0, least = minimum();
  for (u32 at = 0, inside = 0; at < length; at++) {
    u32 letter = input[at] > ' ';
    lines += input[at] == '\n';
    words += letter && !inside;
    inside = letter;
  }
  if (words < least) return give_up(words, least);
  line log = {.length = 0}, number = {.length = 0};
  put(&log, "counted ");
  put_number(&log, words);
  put(&log, " words");
  millrace_log(log.bytes, log.length);
  put_number(&number, words);
  millrace_set_metadata("words", 5, number.bytes, number.length);
  static line json;
  json.length = 0;
  put(&json, "{\"lines\":");
  put_number(&json, lines);
  put(&json, ",\"words\":");
  put_number(&json, words);
  put(&json, "}");
  millrace_set_content_type("application/json", 16);
  answered = 1;
  return millrace_result(json.bytes, json.length);
}
