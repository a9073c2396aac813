// swift-tools-version: 6.2
import PackageDescription

// Every import is internal unless it says otherwise, so a C or third-party type cannot leak from
// the module that wraps it.
let settings: [SwiftSetting] = [
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .treatAllWarnings(as: .error),
  // Decode and fold work on columns of another module; without this their accessors would be calls
  // in the hot loops.
  .unsafeFlags(["-cross-module-optimization"], .when(configuration: .release)),
]

func module(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency] = [], exclude: [String] = [])
  -> Target
{
  .testTarget(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: settings)
}

// Messages are freed by another thread than the one that allocated them, where glibc's malloc takes
// a lock and mimalloc takes none. It replaces malloc in the whole process, librdkafka and SQLite
// included: a third less CPU in a catch-up. A sanitizer brings an allocator of its own (make
// sanitize sets SANITIZE).
let allocator =
  Context.environment["SANITIZE"] == nil ? [LinkerSetting.linkedLibrary("mimalloc")] : []

let sqlite = Target.Dependency.product(name: "GRDBSQLite", package: "GRDB.swift")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let argumentParser = Target.Dependency.product(
  name: "ArgumentParser", package: "swift-argument-parser")

let package = Package(
  name: "tranche",
  products: [.executable(name: "tranche", targets: ["tranche"])],
  dependencies: [
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
  ],
  targets: [
    .systemLibrary(name: "CRdKafka", pkgConfig: "rdkafka", providers: [.apt(["librdkafka-dev"])]),
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .target(name: "CCurl"),
    module("Offsets"),
    module("Escaping"),
    module("Tables"),
    module("Formats", ["Offsets", "Tables"]),
    module("Parquet", ["Tables", "CZstd"]),
    module("Expressions", ["Escaping", "Tables", sqlite]),
    module("Windows", ["Tables"]),
    module("Scheduling", ["Tables"]),
    module(
      "Jobs", ["Escaping", "Tables", "Formats", "Windows", "Expressions", "Scheduling", yams]),
    module("Kafka", ["Escaping", "Offsets", "CRdKafka"]),
    module("HTTP", ["CCurl"]),
    module("ObjectStorage", ["Escaping", "HTTP", "Tables", crypto]),
    module("Checkpoints", ["Offsets", "Tables", "Formats", "Jobs", "Windows", grdb, sqlite]),
    module(
      "Engine",
      [
        "Offsets", "Tables", "Formats", "Parquet", "Expressions", "Jobs", "Windows", "Checkpoints",
        "ObjectStorage", logging,
      ]),
    module(
      "Reports",
      [
        "Escaping", "Offsets", "Tables", "Formats", "Expressions", "Jobs", "Windows", "Checkpoints",
        "ObjectStorage", "Engine", logging,
      ]),
    module("Wiring", ["Engine", "Jobs", "Kafka", "Offsets", logging]),
    module(
      "Trials",
      [
        "Checkpoints", "Engine", "Formats", "Jobs", "ObjectStorage", "Offsets", "Tables", "Windows",
        logging,
      ]),
    .executableTarget(
      name: "tranche",
      dependencies: [
        "Escaping", "Offsets", "Tables", "Formats", "Expressions", "Jobs", "Kafka", "ObjectStorage",
        "Windows", "Checkpoints", "Engine", "Reports", "Scheduling", "Trials", "Wiring",
        logging, argumentParser,
      ],
      swiftSettings: settings, linkerSettings: allocator),
    .executableTarget(
      name: "ParquetBenchmark", dependencies: ["Parquet", "Tables"],
      path: "Benchmarks/ParquetBenchmark", swiftSettings: settings),
    .executableTarget(
      name: "RetentionBenchmark",
      dependencies: [
        "Checkpoints", "Engine", "Jobs", "Offsets", "TestSupport", "Trials", logging,
      ],
      path: "Benchmarks/RetentionBenchmark", swiftSettings: settings, linkerSettings: allocator),
    .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: settings),
    .target(
      name: "Simulation",
      dependencies: [
        "Engine", "Checkpoints", "Jobs", "ObjectStorage", "Offsets", "Parquet", "Tables",
        "TestSupport", "Windows", grdb, logging,
      ],
      path: "Tests/Simulation",
      swiftSettings: settings),
    .executableTarget(
      name: "fuzz",
      dependencies: [
        "Checkpoints", "Engine", "Expressions", "Formats", "Jobs", "ObjectStorage", "Offsets",
        "Tables", "TestSupport", "Trials", "Windows",
        logging, sqlite,
      ],
      path: "Tests/Fuzz",
      swiftSettings: settings),
    .target(name: "MallocCounter", path: "Tests/MallocCounter"),
    .executableTarget(
      name: "hotloops",
      dependencies: [
        "Checkpoints", "Engine", "Expressions", "Jobs", "MallocCounter", "Offsets", "TestSupport",
        "Trials", logging,
      ],
      path: "Tests/HotLoops",
      swiftSettings: settings),
    .executableTarget(
      name: "simulate", dependencies: ["Simulation"], path: "Tests/Simulate",
      swiftSettings: settings, linkerSettings: allocator),
    tests("ArchitectureTests"),
    tests("EscapingTests", ["Escaping", "TestSupport"]),
    tests(
      "ReportsTests",
      [
        "Checkpoints", "Engine", "Expressions", "Jobs", "ObjectStorage", "Offsets", "Reports",
        "TestSupport", "Windows", logging,
      ]),
    tests("OffsetsTests", ["Offsets", "TestSupport"]),
    tests(
      "FormatsTests", ["Formats", "Offsets", "Tables", "TestSupport"],
      exclude: [
        "change-events.jsonl", "change_events.py", "csv_records.py", "json_records.py",
        "json_verdicts.py",
      ]
    ),
    tests("WindowsTests", ["Windows", "Jobs", "Formats", "Tables", "TestSupport"]),
    tests(
      "ParquetTests", ["Parquet", "Tables", "TestSupport"],
      exclude: ["readers.py", "spark.py", "golden"]),
    tests("ExpressionsTests", ["Expressions", "Tables", "TestSupport"]),
    tests(
      "JobsTests",
      [
        "Jobs", "Expressions", "Formats", "Offsets", "Scheduling", "Tables", "TestSupport",
        "Windows",
      ],
      exclude: ["job_files.py"]),
    tests("SchedulingTests", ["Scheduling", "TestSupport"]),
    tests("HTTPTests", ["HTTP", "TestSupport"]),
    tests(
      "ObjectStorageTests",
      ["HTTP", "Jobs", "ObjectStorage", "Simulation", "TestSupport", "Trials"]),
    tests(
      "KafkaTests",
      [
        "CRdKafka", "Engine", "Jobs", "Kafka", "Offsets", "Simulation", "TestSupport", "Trials",
        "Wiring",
      ]),
    tests(
      "CheckpointsTests",
      ["Checkpoints", "Jobs", "Windows", "Formats", "Offsets", "Tables", "TestSupport", grdb]),
    tests(
      "EngineTests",
      [
        "Checkpoints", "Engine", "Formats", "Jobs", "ObjectStorage", "Offsets", "Reports",
        "Simulation", "Tables", "TestSupport", "Trials", "Windows", logging,
      ]),
    tests(
      "TrialsTests",
      ["Checkpoints", "Engine", "Formats", "Jobs", "Offsets", "Tables", "TestSupport", "Trials"]),
    tests(
      "TrancheTests", ["tranche", "Checkpoints", "Engine", "Jobs", "Windows", "TestSupport"]),
    tests(
      "SystemTests",
      [
        "Checkpoints", "Engine", "Jobs", "ObjectStorage", "Offsets", "Simulation", "TestSupport",
        "Wiring", logging,
      ],
      exclude: [
        "release-0.1", "Corpus", "corpus.py", "oracle.py", "evolve.py", "unsigned.py",
        "clickhouse.py",
        "metrics.py", "full_disk.sh",
        "filling_disk.sh",
      ]),
  ]
)
