import { expect, test } from 'vitest';
import { commandOf, labelsOf, WAYS } from './satellite-commands';

test('every way has the core, who the satellite is, and its token once', () => {
  for (const { way } of WAYS) {
    const command = commandOf(way, 'https://core.example.org', '01a2-id', 'csat_x');
    expect(command, way).toContain('https://core.example.org');
    expect(command, way).toContain('01a2-id');
    expect(command.split('csat_x'), way).toHaveLength(2);
  }
});

test('labels are read as they are typed', () => {
  expect(labelsOf(' tier=edge, rack=7=b\n')).toEqual({ tier: 'edge', rack: '7=b' });
  expect(labelsOf('')).toEqual({});
  expect(() => labelsOf('tier')).toThrow('“tier” is no label');
});
