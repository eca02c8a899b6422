package protocol

// ScriptPackageSyncState reports how far the satellite's package tree is (G.6).
type ScriptPackageSyncState struct {
	LockfileHash *string   `json:"lockfileHash"`
	Status       SyncState `json:"status"`
	ErrorMessage string    `json:"errorMessage,omitempty"`
}

// SyncState is one of pending, syncing, ready, error.
type SyncState string

const (
	SyncPending SyncState = "pending"
	SyncSyncing SyncState = "syncing"
	SyncReady   SyncState = "ready"
	SyncError   SyncState = "error"
)

// RequestScriptPackageManifest asks what a lockfile hash holds (A.5).
type RequestScriptPackageManifest struct {
	LockfileHash string `json:"lockfileHash"`
}

// RequestScriptPackageBlob asks for one package by its integrity (A.5).
type RequestScriptPackageBlob struct {
	Integrity string `json:"integrity"`
}

// RefreshScriptPackages asks the satellite to converge to the hash (A.6).
type RefreshScriptPackages struct {
	LockfileHash string `json:"lockfileHash"`
}

// ScriptPackageManifest answers RequestScriptPackageManifest.
type ScriptPackageManifest struct {
	LockfileHash string          `json:"lockfileHash"`
	Entries      []ManifestEntry `json:"entries"`
}

// ManifestEntry is one package of a manifest.
type ManifestEntry struct {
	Name       string `json:"name"`
	Version    string `json:"version"`
	Integrity  string `json:"integrity"`
	BlobSha256 string `json:"blobSha256,omitempty"`
}

// ScriptPackageBlob answers RequestScriptPackageBlob; Data is base64 or null.
type ScriptPackageBlob struct {
	Integrity string  `json:"integrity"`
	Data      *string `json:"data"`
}
