// Tandem boots microVMs, runs containers, and shows how a packet passes through either.
//
// Each verb is a file of its own, named after it: vm_run.go is `tandem vm run`. A verb's file parses its flags into
// the Spec of a package and calls that package; what it knows beyond flags and printing belongs into the package.
//
// The same executable is the init of the guests that it boots: see package guest/init.
//
// Exit statuses follow docker's: 125 if tandem itself failed, 126 and 127 if a command could not be run or was not
// found, and the command's own status otherwise.
package main
