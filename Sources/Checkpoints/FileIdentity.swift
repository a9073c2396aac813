internal import Glibc

/// Device and inode: whether two paths, or a path and an open file, are one file.
package struct FileIdentity: Equatable, Sendable {
  private let device: UInt64
  private let inode: UInt64

  package init(device: UInt64, inode: UInt64) {
    self.device = device
    self.inode = inode
  }

  init(_ facts: stat) {
    self.init(device: UInt64(facts.st_dev), inode: UInt64(facts.st_ino))
  }

  /// Nil where there is nothing.
  package init?(path: String, followsLink: Bool = false) {
    var facts = stat()
    guard (followsLink ? stat(path, &facts) : lstat(path, &facts)) == 0 else { return nil }
    self.init(facts)
  }

  /// Nil where no path leads to the file any more.
  package init?(descriptor: Int32) {
    var facts = stat()
    guard fstat(descriptor, &facts) == 0, facts.st_nlink > 0 else { return nil }
    self.init(facts)
  }
}
