//! Counts the lines and words of a text. The option `minimum` is how many words there must be.

const std = @import("std");
const millrace = @import("millrace.zig");

const Options = struct { minimum: u32 = 0 };
const Counts = struct { lines: u32 = 0, words: u32 = 0 };

export fn process(input: [*]const u8, length: usize) u64 {
    millrace.begin();
    return count(input[0..length]) catch @panic("out of memory");
}

fn count(text: []const u8) !u64 {
    const options = std.json.parseFromSliceLeaky(Options, millrace.allocator, try millrace.read(.options), .{
        .ignore_unknown_fields = true,
    }) catch return millrace.fail("InvalidInput", "the option minimum must be a whole number", false);
    const counts = counted(text);
    if (counts.words < options.minimum) {
        const message = "the text has {d} words, fewer than {d}";
        return millrace.fail("TooShort", try print(message, .{ counts.words, options.minimum }), false);
    }
    millrace.log(try print("counted {d} words", .{counts.words}));
    millrace.setMetadata("words", try print("{d}", .{counts.words}));
    return millrace.result(try print("{f}", .{std.json.fmt(counts, .{})}), "application/json");
}

fn counted(text: []const u8) Counts {
    var counts = Counts{};
    var inside = false;
    for (text) |byte| {
        const letter = byte > ' ';
        if (byte == '\n') counts.lines += 1;
        if (letter and !inside) counts.words += 1;
        inside = letter;
    }
    return counts;
}

fn print(comptime format: []const u8, values: anytype) ![]const u8 {
    return std.fmt.allocPrint(millrace.allocator, format, values);
}
