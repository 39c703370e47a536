// Package arch owns the rules of who may import whom. They are a test: see the table in arch_test.go, which gives the
// reason for each.
package arch
