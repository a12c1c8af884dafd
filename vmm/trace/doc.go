// Package trace tells what a machine does, as it does it.
package trace
