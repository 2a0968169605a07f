// Package runner holds the Maven project that says what the runner JAR is made of.
package runner

import _ "embed"

// POM is the project.
//
//go:embed pom.xml
var POM []byte
