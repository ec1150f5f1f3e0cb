module lynceus/oracle/image

go 1.22

require (
	github.com/Masterminds/semver/v3 v3.4.0
	github.com/distribution/reference v0.6.0
)

require github.com/opencontainers/go-digest v1.0.0 // indirect
