/// An answer of an S3 server that is no success, and what it means.
///
/// It is told by S3's code, not by the HTTP status, which says the same of an expired token and of
/// a wrong region. Only where there is no code that we know, as in the answer to a HEAD or in a
/// gateway's, the status decides.
package struct S3Answer: Sendable, Equatable {
  package enum Request: Sendable {
    case get, head, put, delete, list

    /// What the credentials need.
    package var right: String {
      switch self {
      case .get, .head: "s3:GetObject"
      case .put: "s3:PutObject"
      case .delete: "s3:DeleteObject"
      case .list: "s3:ListBucket"
      }
    }
  }

  /// What the store says. Exit code and remedy follow from it.
  package enum Meaning: Sendable, CaseIterable {
    // Another attempt may do.

    /// It has too many requests, or takes this one for too slow.
    case busy
    case failing
    /// Another request changes the same thing now.
    case conflict
    /// It sends requests elsewhere for now.
    case redirected
    /// What arrived is not what was sent.
    case damaged

    // Who asks.

    case expired
    case unknownKey
    case wrongSecret
    case wrongClock
    case forbidden
    /// The bucket's encryption key cannot be used.
    case encryptionKey

    // Where, and what.

    case otherRegion
    case noBucket
    case badName
    /// It takes objects with a checksum only.
    case noChecksum
    case tooLarge
    case full
    case archived
    case unsupported
    /// It is no answer that an S3 server gives.
    case foreign
    /// Anything else.
    case other

    /// Whether the same request may succeed in a moment.
    package var isTransient: Bool {
      switch self {
      case .busy, .failing, .conflict, .redirected, .damaged: true
      case .expired, .unknownKey, .wrongSecret, .wrongClock, .forbidden, .encryptionKey: false
      case .otherRegion, .noBucket, .badName, .noChecksum, .tooLarge, .full, .archived: false
      case .unsupported, .foreign, .other: false
      }
    }
  }

  package let meaning: Meaning
  package let request: Request
  /// The bucket's region, where the store names it.
  package let region: String?

  package init(_ meaning: Meaning, to request: Request, region: String? = nil) {
    self.meaning = meaning
    self.request = request
    self.region = region
  }

  // MARK: - The table

  /// - Parameters:
  ///   - code: The element `Code` of the answer's body.
  ///   - message: The element `Message`, for the one code that says nothing without it.
  static func meaning(ofStatus status: Int, code: String?, message: String) -> Meaning {
    guard let code else { return meaning(ofStatus: status) }
    let asksForChecksum =
      message.contains("Content-MD5") || message.lowercased().contains("checksum")
    if code == "InvalidRequest" && asksForChecksum { return .noChecksum }
    if code.hasPrefix("KMS.") { return .encryptionKey }
    return codes[code] ?? meaning(ofStatus: status)
  }

  /// The codes that users of AWS, MinIO, Ceph, R2, Google's XML API and Swift meet.
  ///
  /// - SeeAlso: Amazon S3 API Reference, "Error responses"; MinIO, cmd/api-errors.go; Ceph,
  ///   rgw_common.cc; OpenStack Swift, s3response.py.
  package static let codes: [String: Meaning] = [
    "BandwidthLimitExceeded": .busy,
    "RequestLimitExceeded": .busy,
    "RequestThrottled": .busy,
    "RequestThrottledException": .busy,
    "RequestTimeout": .busy,
    "RequestTimeTooSlow": .busy,
    "ServiceUnavailable": .busy,
    "SlowDown": .busy,
    "SlowDownRead": .busy,
    "SlowDownWrite": .busy,
    "Throttling": .busy,
    "ThrottlingException": .busy,
    "ThrottledException": .busy,
    "TooManyRequests": .busy,
    "TooManyRequestsException": .busy,
    "XMinioServerNotInitialized": .busy,
    "InternalError": .failing,
    "ConcurrentModification": .conflict,
    "ConditionalRequestConflict": .conflict,
    "OperationAborted": .conflict,
    "Redirect": .redirected,
    "TemporaryRedirect": .redirected,
    "BadDigest": .damaged,
    "IncompleteBody": .damaged,
    "XAmzContentChecksumMismatch": .damaged,
    "XAmzContentSHA256Mismatch": .damaged,
    "ExpiredToken": .expired,
    "ExpiredTokenException": .expired,
    "RequestExpired": .expired,
    "TokenRefreshRequired": .expired,
    "InvalidAccessKeyId": .unknownKey,
    "InvalidClientTokenId": .unknownKey,
    "InvalidSecurity": .unknownKey,
    "InvalidToken": .unknownKey,
    "NotSignedUp": .unknownKey,
    "Unauthorized": .unknownKey,
    "UnrecognizedClientException": .unknownKey,
    "SignatureDoesNotMatch": .wrongSecret,
    "RequestInTheFuture": .wrongClock,
    "RequestTimeTooSkewed": .wrongClock,
    "AccessDenied": .forbidden,
    "AccountProblem": .forbidden,
    "AllAccessDisabled": .forbidden,
    "UserSuspended": .forbidden,
    "UserProjectAccountProblem": .forbidden,
    "KMSNotConfigured": .encryptionKey,
    "AuthorizationHeaderMalformed": .otherRegion,
    "IllegalLocationConstraintException": .otherRegion,
    "IncorrectEndpoint": .otherRegion,
    "InvalidRegionName": .otherRegion,
    "PermanentRedirect": .otherRegion,
    "NoSuchAccessPoint": .noBucket,
    "NoSuchBucket": .noBucket,
    "InvalidBucketName": .badName,
    "InvalidObjectName": .badName,
    "KeyTooLongError": .badName,
    "XMinioInvalidObjectName": .badName,
    "MissingContentMD5": .noChecksum,
    "EntityTooLarge": .tooLarge,
    "InsufficientStorage": .full,
    "QuotaExceeded": .full,
    "XMinioAdminBucketQuotaExceeded": .full,
    "XMinioStorageFull": .full,
    "InvalidObjectState": .archived,
    "MethodNotAllowed": .unsupported,
    "NotImplemented": .unsupported,
    "InvalidArgument": .other,
    "InvalidRequest": .other,
    "NoSuchKey": .other,
    "PreconditionFailed": .other,
  ]

  private static func meaning(ofStatus status: Int) -> Meaning {
    switch status {
    case 301, 308: .otherRegion
    case 307: .redirected
    case 200...399: .foreign
    case 401, 403: .forbidden
    case 404: .noBucket
    case 405, 501: .unsupported
    case 408, 425, 429: .busy
    case 409: .conflict
    case 413: .tooLarge
    case 507: .full
    case 500...599: .failing
    default: .other
    }
  }
}
