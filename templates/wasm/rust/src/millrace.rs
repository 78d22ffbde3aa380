//! The Direct ABI of Millrace, for Rust. The whole contract is in docs/wasm-authors.md.
#![allow(dead_code)]

use std::cell::RefCell;

mod host {
    #[link(wasm_import_module = "millrace")]
    extern "C" {
        pub fn content_type(buffer: *mut u8, capacity: usize) -> usize;
        pub fn options(buffer: *mut u8, capacity: usize) -> usize;
        pub fn metadata(buffer: *mut u8, capacity: usize) -> usize;
        pub fn context(buffer: *mut u8, capacity: usize) -> usize;
        pub fn metadata_value(key: *const u8, key_length: usize, buffer: *mut u8, capacity: usize) -> isize;
        pub fn secret(name: *const u8, name_length: usize, buffer: *mut u8, capacity: usize) -> isize;
        pub fn set_content_type(text: *const u8, length: usize);
        pub fn set_metadata(key: *const u8, key_length: usize, value: *const u8, value_length: usize);
        pub fn set_error(code: *const u8, code_length: usize, message: *const u8, message_length: usize, retryable: i32);
        pub fn log(text: *const u8, length: usize);
    }
}

pub struct Answer {
    pub payload: Vec<u8>,
    pub content_type: &'static str,
}

pub struct Failure {
    pub code: &'static str,
    pub message: String,
    pub retryable: bool,
}

thread_local! {
    static INPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static PAYLOAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[no_mangle]
extern "C" fn millrace_alloc(length: usize) -> *mut u8 {
    INPUT.with_borrow_mut(|input| {
        *input = vec![0; length.max(1)];
        input.as_mut_ptr()
    })
}

/// What the entrypoint `process` returns: the payload stays where it is until the next call.
fn returned(payload: Vec<u8>) -> u64 {
    PAYLOAD.with_borrow_mut(|kept| {
        *kept = payload;
        (kept.as_ptr() as u64) << 32 | kept.len() as u64
    })
}

#[no_mangle]
extern "C" fn process(_input: *const u8, length: usize) -> u64 {
    let mut input = INPUT.take();
    input.truncate(length);
    match crate::process(&input) {
        Ok(answer) => {
            unsafe { host::set_content_type(answer.content_type.as_ptr(), answer.content_type.len()) };
            returned(answer.payload)
        }
        Err(Failure { code, message, retryable }) => {
            unsafe { host::set_error(code.as_ptr(), code.len(), message.as_ptr(), message.len(), retryable.into()) };
            0
        }
    }
}

fn read(from: unsafe extern "C" fn(*mut u8, usize) -> usize) -> String {
    let length = unsafe { from(std::ptr::null_mut(), 0) };
    let mut bytes = vec![0; length];
    unsafe { from(bytes.as_mut_ptr(), length) };
    String::from_utf8(bytes).expect("the host gives UTF-8")
}

type ReadNamed = unsafe extern "C" fn(*const u8, usize, *mut u8, usize) -> isize;

fn read_named(from: ReadNamed, name: &str) -> Option<String> {
    let length = unsafe { from(name.as_ptr(), name.len(), std::ptr::null_mut(), 0) };
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    unsafe { from(name.as_ptr(), name.len(), bytes.as_mut_ptr(), bytes.len()) };
    Some(String::from_utf8(bytes).expect("the host gives UTF-8"))
}

pub fn content_type() -> String {
    read(host::content_type)
}

/// JSON.
pub fn options() -> String {
    read(host::options)
}

/// Of the steps before, as JSON.
pub fn metadata() -> String {
    read(host::metadata)
}

/// JSON.
pub fn context() -> String {
    read(host::context)
}

pub fn metadata_value(key: &str) -> Option<String> {
    read_named(host::metadata_value, key)
}

/// One of the Processor's secrets.
pub fn secret(name: &str) -> Option<String> {
    read_named(host::secret, name)
}

pub fn set_metadata(key: &str, value: &str) {
    unsafe { host::set_metadata(key.as_ptr(), key.len(), value.as_ptr(), value.len()) }
}

pub fn log(text: &str) {
    unsafe { host::log(text.as_ptr(), text.len()) }
}
