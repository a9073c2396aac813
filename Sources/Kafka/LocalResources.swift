internal import Glibc

/// Whether this machine still gives what a command takes of it.
///
/// librdkafka aborts the process where it gets its first thread and not the next one (an assertion
/// of rd_kafka_broker_add_logical); Dispatch waits for ever for a thread, and traps without a
/// descriptor for epoll. So they are tried before.
package enum LocalResources {
  /// librdkafka's own, one of its coordinator and one of a broker, and our publisher's.
  private static let threadCount = 4
  /// A run takes some twenty, for one cluster.
  private static let descriptorCount = 20

  /// What is missing, with the system's words; nil where there is enough.
  package static var problem: String? { threadProblem ?? descriptorProblem }

  private static var threadProblem: String? {
    let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    defer { lock.deallocate() }
    pthread_mutex_init(lock, nil)
    defer { pthread_mutex_destroy(lock) }
    pthread_mutex_lock(lock)
    var threads: [pthread_t] = []
    var status: Int32 = 0
    // All wait at the lock, so that all are there at once.
    for _ in 0..<threadCount where status == 0 {
      var thread = pthread_t()
      status = pthread_create(
        &thread, nil,
        { lock in
          guard let lock = lock?.assumingMemoryBound(to: pthread_mutex_t.self) else { return nil }
          pthread_mutex_lock(lock)
          pthread_mutex_unlock(lock)
          return nil
        }, lock)
      if status == 0 { threads.append(thread) }
    }
    pthread_mutex_unlock(lock)
    for thread in threads { pthread_join(thread, nil) }
    return status == 0 ? nil : "no thread can be started: \(String(cString: strerror(status)))"
  }

  private static var descriptorProblem: String? {
    var descriptors: [Int32] = []
    defer { for descriptor in descriptors { close(descriptor) } }
    for _ in 0..<descriptorCount {
      let descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC)
      if descriptor < 0 { return "no file can be opened: \(String(cString: strerror(errno)))" }
      descriptors.append(descriptor)
    }
    return nil
  }
}
