// FerretDB, which checks of MongoDB are tried against: Debian has no MongoDB.
// .ci/need ferretdb builds it, with what its own go.mod wants.
module github.com/perigee-monitoring/perigee/ferretdb

go 1.26.3

require github.com/FerretDB/FerretDB v1.24.2
