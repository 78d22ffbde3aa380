/* A WebAssembly module as a processor, over the Direct ABI (docs/wasm.md): counts the words of five letters and more in
 * each half-century of a text of addresses, each after a line `# YEAR NAME`. A line a word: era, word and count, by tabs.
 *
 * Built by `npm run fixtures -- terms.wasm`.
 */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define EXPORT(name) __attribute__((export_name(#name)))
#define IMPORT(name) __attribute__((import_module("millrace"), import_name(#name)))

IMPORT(set_content_type) void set_content_type(const void *type, u32 length);
IMPORT(set_metadata) void set_metadata(const void *key, u32 key_length, const void *value, u32 value_length);
IMPORT(set_error) void set_error(const void *code, u32 code_length, const void *message, u32 message_length, u32 retryable);

enum { first_year = 1790, years_per_era = 50, least_letters = 5, least_count = 5, slots = 1 << 18 };

struct term {
  const u8 *word;
  u32 length;
  u32 era;
  u32 count;
};

static struct term table[slots];
static u32 used;
extern u8 __heap_base;
static u8 *next = &__heap_base;

/* An instance serves one call, so that nothing is ever given back. */
EXPORT(millrace_alloc) void *millrace_alloc(u32 bytes) {
  u8 *start = next;
  u64 end = ((u64)(u32)start + bytes + 15) & ~15ull;
  u64 size = (u64)__builtin_wasm_memory_size(0) << 16;
  if (end > size && __builtin_wasm_memory_grow(0, (end - size + 65535) >> 16) == (u32)-1) return 0;
  next = (u8 *)(u32)end;
  return start;
}

static int is_letter(u8 c) { return (u8)((c | 32) - 'a') < 26; }

static int same(const u8 *a, const u8 *b, u32 length) {
  for (u32 i = 0; i < length; i++)
    if (a[i] != b[i]) return 0;
  return 1;
}

static void count(u32 era, u8 *word, u32 length) {
  u32 hash = 2166136261u ^ era;
  for (u32 i = 0; i < length; i++) {
    word[i] |= 32; /* the input is ours: lower case in place */
    hash = (hash ^ word[i]) * 16777619u;
  }
  for (u32 slot = hash % slots;; slot = (slot + 1) % slots) {
    struct term *term = &table[slot];
    if (term->count == 0) {
      if (used == slots - 1) return; /* full: a word not seen before is too rare to matter */
      *term = (struct term){word, length, era, 0};
      used++;
    }
    if (term->era == era && term->length == length && same(term->word, word, length)) {
      term->count++;
      return;
    }
  }
}

static u8 *put(u8 *out, const u8 *text, u32 length) {
  __builtin_memcpy(out, text, length);
  return out + length;
}

static u8 *put_number(u8 *out, u32 number) {
  u8 digits[10];
  u32 length = 0;
  do digits[length++] = (u8)('0' + number % 10);
  while (number /= 10);
  while (length) *out++ = digits[--length];
  return out;
}

static u8 *put_term(u8 *out, const struct term *term) {
  u32 start = first_year + term->era * years_per_era;
  out = put_number(out, start);
  *out++ = '-';
  out = put_number(out, start + years_per_era - 1);
  *out++ = '\t';
  out = put(out, term->word, term->length);
  *out++ = '\t';
  out = put_number(out, term->count);
  *out++ = '\n';
  return out;
}

static u32 read_year(const u8 *digits) {
  u32 year = 0;
  for (u32 i = 0; i < 4; i++) year = year * 10 + (u32)(digits[i] - '0');
  return year;
}

/* Returns how many addresses there were. */
static u32 count_all(u8 *text, u32 length) {
  u32 addresses = 0, era = 0;
  for (u32 at = 0; at < length;) {
    int starts_line = at == 0 || text[at - 1] == '\n';
    if (starts_line && text[at] == '#' && length - at > 6) {
      u32 year = read_year(text + at + 2);
      era = year < first_year ? 0 : (year - first_year) / years_per_era;
      addresses++;
      while (at < length && text[at] != '\n') at++;
    } else if (is_letter(text[at])) {
      u32 start = at;
      while (at < length && is_letter(text[at])) at++;
      if (at - start >= least_letters) count(era, text + start, at - start);
    } else {
      at++;
    }
  }
  return addresses;
}

EXPORT(process) u64 process(u8 *text, u32 length) {
  if (count_all(text, length) == 0) {
    static const char code[] = "InvalidInput", message[] = "expected addresses, each after a line `# YEAR NAME`";
    set_error(code, sizeof code - 1, message, sizeof message - 1, 0);
    return 0;
  }
  u32 bytes = 0;
  for (u32 slot = 0; slot < slots; slot++) bytes += table[slot].count >= least_count ? table[slot].length + 24 : 0;
  u8 *result = millrace_alloc(bytes), *end = result;
  if (!result) __builtin_trap();
  for (u32 slot = 0; slot < slots; slot++)
    if (table[slot].count >= least_count) end = put_term(end, &table[slot]);
  u8 number[10];
  set_metadata("words", 5, number, (u32)(put_number(number, used) - number));
  set_content_type("text/tab-separated-values; charset=utf-8", 40);
  return (u64)(u32)result << 32 | (u32)(end - result);
}
