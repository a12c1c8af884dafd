// Package kvm is a thin layer of types over Linux's KVM ioctls.
package kvm
