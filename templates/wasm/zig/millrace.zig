//! The Direct ABI of Millrace, for Zig. The whole contract is in docs/wasm-authors.md.

const std = @import("std");

const host = struct {
    extern "millrace" fn content_type(buffer: ?[*]u8, capacity: usize) usize;
    extern "millrace" fn options(buffer: ?[*]u8, capacity: usize) usize;
    extern "millrace" fn metadata(buffer: ?[*]u8, capacity: usize) usize;
    extern "millrace" fn context(buffer: ?[*]u8, capacity: usize) usize;
    extern "millrace" fn metadata_value(key: [*]const u8, key_length: usize, buffer: ?[*]u8, capacity: usize) isize;
    extern "millrace" fn secret(name: [*]const u8, name_length: usize, buffer: ?[*]u8, capacity: usize) isize;
    extern "millrace" fn set_content_type(text: [*]const u8, length: usize) void;
    extern "millrace" fn set_metadata(key: [*]const u8, key_length: usize, value: [*]const u8, value_length: usize) void;
    extern "millrace" fn set_error(code: [*]const u8, code_length: usize, message: [*]const u8, message_length: usize, retryable: i32) void;
    extern "millrace" fn log(text: [*]const u8, length: usize) void;
};

pub const Fact = enum { content_type, options, metadata, context };

var arena = std.heap.ArenaAllocator.init(std.heap.wasm_allocator);
var answered = false;

/// What is allocated here lives until the next call.
pub const allocator = arena.allocator();

/// A call's memory is free again when the next one comes: only then has the host read the result. To be called first by the
/// entrypoint: for an empty input nothing is allocated before.
pub fn begin() void {
    if (answered) _ = arena.reset(.retain_capacity);
    answered = false;
}

export fn millrace_alloc(length: usize) ?[*]u8 {
    begin();
    const bytes = allocator.alloc(u8, @max(length, 1)) catch return null;
    return bytes.ptr;
}

/// What the entrypoint returns.
pub fn result(payload: []const u8, content_type: []const u8) u64 {
    host.set_content_type(content_type.ptr, content_type.len);
    answered = true;
    return @as(u64, @intFromPtr(payload.ptr)) << 32 | payload.len;
}

/// Declares that the call has failed, and is what the entrypoint then returns.
pub fn fail(code: []const u8, message: []const u8, retryable: bool) u64 {
    host.set_error(code.ptr, code.len, message.ptr, message.len, @intFromBool(retryable));
    answered = true;
    return 0;
}

pub fn read(fact: Fact) ![]const u8 {
    const from = switch (fact) {
        .content_type => &host.content_type,
        .options => &host.options,
        .metadata => &host.metadata,
        .context => &host.context,
    };
    const bytes = try allocator.alloc(u8, from(null, 0));
    _ = from(bytes.ptr, bytes.len);
    return bytes;
}

/// One entry of the metadata of the steps before.
pub fn metadataValue(key: []const u8) !?[]const u8 {
    return readNamed(&host.metadata_value, key);
}

/// One of the Processor's secrets.
pub fn secret(name: []const u8) !?[]const u8 {
    return readNamed(&host.secret, name);
}

fn readNamed(from: *const fn ([*]const u8, usize, ?[*]u8, usize) callconv(.c) isize, name: []const u8) !?[]const u8 {
    const length = from(name.ptr, name.len, null, 0);
    if (length < 0) return null;
    const bytes = try allocator.alloc(u8, @intCast(length));
    _ = from(name.ptr, name.len, bytes.ptr, bytes.len);
    return bytes;
}

pub fn setMetadata(key: []const u8, value: []const u8) void {
    host.set_metadata(key.ptr, key.len, value.ptr, value.len);
}

pub fn log(text: []const u8) void {
    host.log(text.ptr, text.len);
}
