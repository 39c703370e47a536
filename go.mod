module github.com/catalogsync/catalogsync

go 1.26
