/// What two jobs must not share: a place for results, wholly or in part, or a checkpoint.
///
/// Two that write below one place overwrite each other's objects, and one that moves away deletes
/// the other's.
package struct JobOverlap: Equatable, Sendable {
  /// A job as its file says it.
  package struct Side: Sendable {
    package let file: String
    package let parsed: JobFile.Parsed
    /// The folder of results without links, `.` and `..`, from the root on; nil on S3.
    package let folder: String?
    /// What tells this job's checkpoint from another's of the same name; nil where the file does
    /// not say where it lies, as on standard input.
    package let checkpointPlace: String?

    package init(file: String, parsed: JobFile.Parsed, folder: String?, checkpointPlace: String?) {
      self.file = file
      self.parsed = parsed
      self.folder = folder
      self.checkpointPlace = checkpointPlace
    }

    private var job: Job { parsed.job }

    /// The store, then the names from its root to the place.
    fileprivate var path: [String] {
      switch job.output.destination {
      case .file(let path): ["file"] + (folder ?? path).split(separator: "/").map(String.init)
      case .s3: [storeName] + job.output.destination.segments
      }
    }

    /// Scheme aside, and AWS's regions as one: a bucket's name exists once in all of them.
    private var storeName: String {
      guard let endpoint = job.output.s3.endpoint?.lowercased() else { return "s3 aws" }
      let host = endpoint.drop { $0 != "/" }.drop { $0 == "/" }
      if host.hasSuffix(".amazonaws.com") { return "s3 aws" }
      let port = endpoint.hasPrefix("http://") ? ":80" : ":443"
      return "s3 " + (host.hasSuffix(port) ? host.dropLast(port.count) : host)
    }
  }

  /// In the words of a job file's fault, at the second file.
  package let error: JobFileError

  /// Every pair that clashes, in the order of the files.
  package static func find(_ sides: [Side]) -> [JobOverlap] {
    sides.indices.flatMap { second in sides[..<second].flatMap { clashes($0, sides[second]) } }
  }

  private static func clashes(_ first: Side, _ second: Side) -> [JobOverlap] {
    var found: [JobOverlap] = []
    func add(_ key: String, line: Int, value: String, _ problem: String, _ remedy: String) {
      found.append(
        JobOverlap(
          error: JobFileError(
            file: second.file, line: line, key: key, value: value, problem: problem, remedy: remedy)
        ))
    }
    let (one, other) = (first.parsed.job, second.parsed.job)
    if one.name == other.name, let place = first.checkpointPlace, place == second.checkpointPlace {
      add(
        "name", line: second.parsed.nameLine, value: other.name,
        "is also the name of the job in \(first.file):\(first.parsed.nameLine), and both would "
          + "use one checkpoint",
        "Give each its own name"
      )
    }
    let (path, otherPath) = (first.path, second.path)
    let shared = zip(path, otherPath).prefix { $0 == $1 }.count
    guard shared == min(path.count, otherPath.count) else { return found }
    let relation =
      path.count == otherPath.count
      ? "is the same place as" : path.count < otherPath.count ? "lies below" : "lies above"
    add(
      "output.to", line: second.parsed.destinationLine, value: other.output.destination.text,
      "\(relation) \"\(one.output.destination.text)\" of "
        + "\(first.file):\(first.parsed.destinationLine): each job would overwrite or delete the "
        + "other's objects",
      "Give each a place of its own, side by side")
    return found
  }
}
