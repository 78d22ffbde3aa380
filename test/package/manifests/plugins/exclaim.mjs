export async function process({ payload, contentType }) {
  return { payload: Buffer.concat([payload, Buffer.from("!")]), contentType };
}
