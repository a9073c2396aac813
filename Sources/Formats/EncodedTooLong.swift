/// A table whose object would be longer than it may be.
package struct EncodedTooLong: Error, Equatable, CustomStringConvertible {
  package let byteLimit: Int

  package init(byteLimit: Int) { self.byteLimit = byteLimit }

  package var description: String {
    "the object would have more than \(byteLimit) bytes (limits.object_bytes). Make it smaller by "
      + "select, by or where, or raise the limit"
  }
}
