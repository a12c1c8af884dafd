// Package examples holds the lessons, each a program in a folder of its own,
// in reading order; README.md lists them.
//
// A lesson is small enough to be read at one sitting, stands on tandem's
// public packages, and has a README.md with what it prints. The test of this
// package runs them all and compares.
package examples
