// Counts the lines and words of a text. The option `minimum` is how many words there must be.
package main

import (
	"bytes"
	"strconv"
	"strings"
	"unsafe"
)

// The module is a library: its runtime is started by the host.
func main() {}

//go:wasmexport process
func process(input *byte, length uint32) uint64 {
	text := unsafe.Slice(input, length)
	lines := bytes.Count(text, []byte("\n"))
	words := len(bytes.FieldsFunc(text, func(letter rune) bool { return letter <= ' ' }))
	if least := minimum(string(options())); words < least {
		message := "the text has " + strconv.Itoa(words) + " words, fewer than " + strconv.Itoa(least)
		return fail("TooShort", message, false)
	}
	log("counted " + strconv.Itoa(words) + " words")
	setMetadata("words", strconv.Itoa(words))
	payload := `{"lines":` + strconv.Itoa(lines) + `,"words":` + strconv.Itoa(words) + "}"
	return result([]byte(payload), "application/json")
}

// The number after `"minimum":` in the options, 0 without it. encoding/json does it, too, for a megabyte more of module.
func minimum(json string) int {
	_, rest, _ := strings.Cut(json, `"minimum":`)
	digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
	value, _ := strconv.Atoi(rest[:digits])
	return value
}
