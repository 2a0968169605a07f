// Package runner holds what a job on Flink is made of besides the flow: the Maven project of the runner JAR, and a class of Java that jobs take along.
package runner

import _ "embed"

// POM is the Maven project that says what the runner JAR is made of.
//
//go:embed pom.xml
var POM []byte

// BoundedManifest is the compiled class of that name, and BoundedManifestName its name. Its source, beside it, says what for. Flink's integration tests hold
// the one against the other; where it changes:
//
//	javac -g:none --release 11 -cp FLINK/lib/flink-dist-1.19.3.jar deploy/flink/runner/java/activedataflow/BoundedManifest.java
//
//go:embed java/activedataflow/BoundedManifest.class
var BoundedManifest []byte

const BoundedManifestName = "activedataflow.BoundedManifest"
