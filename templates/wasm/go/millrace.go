package main

import "unsafe"

// The Direct ABI of Millrace, for Go. The whole contract is in docs/wasm-authors.md.

//go:wasmimport millrace content_type
func hostContentType(buffer unsafe.Pointer, capacity uint32) uint32

//go:wasmimport millrace options
func hostOptions(buffer unsafe.Pointer, capacity uint32) uint32

//go:wasmimport millrace metadata
func hostMetadata(buffer unsafe.Pointer, capacity uint32) uint32

//go:wasmimport millrace context
func hostContext(buffer unsafe.Pointer, capacity uint32) uint32

//go:wasmimport millrace metadata_value
func hostMetadataValue(key unsafe.Pointer, keyLength uint32, buffer unsafe.Pointer, capacity uint32) int32

//go:wasmimport millrace secret
func hostSecret(name unsafe.Pointer, nameLength uint32, buffer unsafe.Pointer, capacity uint32) int32

//go:wasmimport millrace set_content_type
func hostSetContentType(contentType unsafe.Pointer, length uint32)

//go:wasmimport millrace set_metadata
func hostSetMetadata(key unsafe.Pointer, keyLength uint32, value unsafe.Pointer, valueLength uint32)

//go:wasmimport millrace set_error
func hostSetError(code unsafe.Pointer, codeLength uint32, message unsafe.Pointer, messageLength uint32, retryable int32)

//go:wasmimport millrace log
func hostLog(text unsafe.Pointer, length uint32)

// What the host writes to and reads from: the collector must leave it alone until the next call.
var input, output []byte

//go:wasmexport millrace_alloc
func alloc(length uint32) unsafe.Pointer {
	input = make([]byte, max(length, 1))
	return unsafe.Pointer(&input[0])
}

// result is what the entrypoint returns.
func result(payload []byte, contentType string) uint64 {
	hostSetContentType(pointer(contentType), uint32(len(contentType)))
	output = payload
	if len(payload) == 0 {
		return 0
	}
	return uint64(uintptr(unsafe.Pointer(&output[0])))<<32 | uint64(len(output))
}

// fail declares that the call has failed, and is what the entrypoint then returns.
func fail(code, message string, retryable bool) uint64 {
	again := int32(0)
	if retryable {
		again = 1
	}
	hostSetError(pointer(code), uint32(len(code)), pointer(message), uint32(len(message)), again)
	return 0
}

func pointer(text string) unsafe.Pointer {
	return unsafe.Pointer(unsafe.StringData(text))
}

func read(from func(unsafe.Pointer, uint32) uint32) []byte {
	bytes := make([]byte, from(nil, 0))
	from(unsafe.Pointer(unsafe.SliceData(bytes)), uint32(len(bytes)))
	return bytes
}

func readNamed(from func(unsafe.Pointer, uint32, unsafe.Pointer, uint32) int32, name string) (string, bool) {
	length := from(pointer(name), uint32(len(name)), nil, 0)
	if length < 0 {
		return "", false
	}
	bytes := make([]byte, length)
	from(pointer(name), uint32(len(name)), unsafe.Pointer(unsafe.SliceData(bytes)), uint32(length))
	return string(bytes), true
}

func contentType() string {
	return string(read(hostContentType))
}

// options are JSON, and so are metadata (of the steps before) and context.
func options() []byte {
	return read(hostOptions)
}

func metadata() []byte {
	return read(hostMetadata)
}

func context() []byte {
	return read(hostContext)
}

func metadataValue(key string) (string, bool) {
	return readNamed(hostMetadataValue, key)
}

// secret is one of the Processor's secrets.
func secret(name string) (string, bool) {
	return readNamed(hostSecret, name)
}

func setMetadata(key, value string) {
	hostSetMetadata(pointer(key), uint32(len(key)), pointer(value), uint32(len(value)))
}

func log(text string) {
	hostLog(pointer(text), uint32(len(text)))
}
