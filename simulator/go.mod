module github.com/catalogsync/catalogsync/simulator

go 1.26
