/** Where a satellite shall run, and what is typed there. */
export type Way = 'shell' | 'systemd' | 'docker' | 'kubernetes';

export const WAYS: { way: Way; title: string; hint: string }[] = [
  { way: 'shell', title: 'Shell', hint: 'Where perigee-satellite is installed. It runs until the shell ends.' },
  {
    way: 'systemd',
    title: 'systemd',
    hint: 'Run this once as root. The service starts with the machine, as a user of its own.',
  },
  {
    way: 'docker',
    title: 'Docker',
    hint: 'With an image that has perigee-satellite in it. What waits to be sent is kept in a volume.',
  },
  {
    way: 'kubernetes',
    title: 'Kubernetes',
    hint: 'Apply this to the cluster, with the image of your registry in place of perigee-satellite.',
  },
];

/** The ready-made command. Names are not in it: what people call a satellite is no code. */
export function commandOf(way: Way, core: string, id: string, token: string): string {
  switch (way) {
    case 'shell':
      return `export PERIGEE_SATELLITE_TOKEN=${token}\nperigee-satellite --core ${core} --id ${id}`;
    case 'systemd':
      return `install -d -m 700 /etc/perigee
(umask 077; printf %s '${token}' > /etc/perigee/satellite.token)
cat > /etc/systemd/system/perigee-satellite.service <<'UNIT'
[Unit]
Description=Perigee satellite
After=network-online.target
Wants=network-online.target

[Service]
LoadCredential=token:/etc/perigee/satellite.token
ExecStart=/usr/local/bin/perigee-satellite --core ${core} --id ${id} --token-file %d/token --data-dir /var/lib/perigee-satellite
DynamicUser=yes
StateDirectory=perigee-satellite
AmbientCapabilities=CAP_NET_RAW
Restart=always
RestartSec=5
RestartPreventExitStatus=2 3 4

[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl enable --now perigee-satellite`;
    case 'docker':
      return `docker run -d --name perigee-satellite --restart unless-stopped \\
  -e PERIGEE_CORE_URL=${core} \\
  -e PERIGEE_SATELLITE_ID=${id} \\
  -e PERIGEE_SATELLITE_TOKEN=${token} \\
  -e PERIGEE_DATA_DIR=/data -v perigee-satellite:/data \\
  perigee-satellite`;
    case 'kubernetes':
      return `kubectl apply -f - <<'YAML'
apiVersion: v1
kind: Secret
metadata: {name: perigee-satellite}
stringData: {token: "${token}"}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: perigee-satellite}
spec:
  serviceName: perigee-satellite
  replicas: 1 # one process for each satellite
  selector: {matchLabels: {app: perigee-satellite}}
  template:
    metadata: {labels: {app: perigee-satellite}}
    spec:
      containers:
        - name: satellite
          image: perigee-satellite
          env:
            - {name: PERIGEE_CORE_URL, value: "${core}"}
            - {name: PERIGEE_SATELLITE_ID, value: "${id}"}
            - {name: PERIGEE_DATA_DIR, value: /data}
            - name: PERIGEE_SATELLITE_TOKEN
              valueFrom: {secretKeyRef: {name: perigee-satellite, key: token}}
          volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
YAML`;
  }
}

/** Labels as people type them, key=value by spaces or commas; the error says which is wrong. */
export function labelsOf(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const word of text.split(/[\s,]+/).filter(Boolean)) {
    const at = word.indexOf('=');
    if (at < 1) throw new Error(`“${word}” is no label; write key=value`);
    labels[word.slice(0, at)] = word.slice(at + 1);
  }
  return labels;
}
