{{/*
A job of the release: (dict "root" $ "program" "trainer" "command" "run" "weight" "0" "sample" true)
Hooks run one after the other, in the order of their weights, each when the one before has ended well.
*/}}
{{- define "dowse.job" -}}
{{- $root := .root -}}
{{- $program := .program -}}
{{- $own := get $root.Values $program -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "dowse.fullname" $root }}-{{ $program }}
  labels: {{- include "dowse.labels" (list $root $program) | nindent 4 }}
  annotations:
    helm.sh/hook: post-install,post-upgrade
    helm.sh/hook-weight: {{ .weight | quote }}
    helm.sh/hook-delete-policy: before-hook-creation
spec:
  backoffLimit: {{ $root.Values.jobs.backoffLimit }}
  activeDeadlineSeconds: {{ $root.Values.jobs.deadlineSeconds }}
  template:
    metadata:
      labels: {{- include "dowse.labels" (list $root $program) | nindent 8 }}
    spec:
      {{- include "dowse.pod" (list $root $own) | nindent 6 }}
      {{- if and (not $own.affinity) (not (include "dowse.shared" $root)) $root.Values.service.replicas }}
      # One node at a time can mount the volume, and the service's pod has it already.
      affinity:
        podAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            - topologyKey: kubernetes.io/hostname
              labelSelector:
                matchLabels: {{- include "dowse.selector" (list $root "service") | nindent 18 }}
      {{- end }}
      restartPolicy: OnFailure
      {{- if .sample }}
      initContainers:
        - name: sample
          {{- include "dowse.container" (list $root "indexer" $own) | nindent 10 }}
          command: [sh, -c]
          args: ['test -e /data/corpus.parquet || exec python -m indexer sample --out /data/corpus.parquet']
          volumeMounts:
            - {name: data, mountPath: /data}
            - {name: tmp, mountPath: /tmp}
      {{- end }}
      containers:
        - name: {{ $program }}
          {{- include "dowse.container" (list $root $program $own) | nindent 10 }}
          args:
            - {{ .command }}
            {{- include "dowse.corpusArgs" $root | nindent 12 }}
            {{- range $own.args }}
            - {{ . | quote }}
            {{- end }}
          {{- if eq $program "indexer" }}
          {{- with include "dowse.storeEnv" $root }}
          env: {{- . | nindent 12 }}
          {{- end }}
          {{- end }}
          volumeMounts:
            - {name: data, mountPath: /data}
            - {name: tmp, mountPath: /tmp}
            {{- if $root.Values.corpus.existingClaim }}
            - {name: corpus, mountPath: /corpus, readOnly: true}
            {{- end }}
      volumes:
        - name: data
          persistentVolumeClaim: {claimName: {{ include "dowse.claim" $root }}}
        - name: tmp
          emptyDir: {sizeLimit: {{ $own.tmpSize }}}
        {{- with $root.Values.corpus.existingClaim }}
        - name: corpus
          persistentVolumeClaim: {claimName: {{ . }}, readOnly: true}
        {{- end }}
{{- end -}}
