import Glibc

/// What systemd is told of a service of `Type=notify`; without systemd, nobody is told anything.
/// - SeeAlso: sd_notify(3), "Standalone implementations".
struct ServiceManager {
  private let address: [UInt8]?
  /// Half of `WatchdogSec`, as sd_watchdog_enabled(3) asks for; nil where no watchdog waits.
  let watchdogMilliseconds: Int64?

  init(environment: [String: String]) {
    let path = environment["NOTIFY_SOCKET"] ?? ""
    // A name that begins with @ is no file: its first byte is 0.
    let isUsable = (path.hasPrefix("/") || path.hasPrefix("@")) && path.utf8.count < 108
    address =
      isUsable ? (path.hasPrefix("@") ? [0] + path.utf8.dropFirst() : Array(path.utf8)) : nil
    let isForUs = environment["WATCHDOG_PID"].map { $0 == "\(getpid())" } ?? true
    let microseconds = environment["WATCHDOG_USEC"].flatMap(Int64.init) ?? 0
    watchdogMilliseconds =
      isForUs && microseconds > 0 && address != nil ? max(1, microseconds / 2_000) : nil
  }

  func ready(_ status: String) { send("READY=1\nSTATUS=\(status)") }
  func status(_ text: String) { send("STATUS=\(text)") }
  func stillAlive() { send("WATCHDOG=1") }
  func stopping(_ status: String) { send("STOPPING=1\nSTATUS=\(status)") }

  /// Followed by ``ready(_:)``.
  func reloading() {
    send("RELOADING=1\nMONOTONIC_USEC=\(uptimeNanoseconds() / 1_000)")
  }

  /// A message that does not arrive changes nothing.
  private func send(_ text: String) {
    guard let address else { return }
    let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    var name = sockaddr_un()
    name.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: address) }
    let length = MemoryLayout<sa_family_t>.size + address.count
    let bytes = Array(text.utf8)
    withUnsafePointer(to: &name) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        _ = sendto(
          descriptor, bytes, bytes.count,
          Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT), $0,
          socklen_t(length))
      }
    }
  }
}
