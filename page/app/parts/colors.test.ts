/** Colors of states for readers who see some of them alike, and for those who see none. */

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { words } from '../words/en.ts';
import { lookOf } from './state.ts';

type Three = readonly [number, number, number];

/** What reaches the eye, as linear red, green and blue (Machado, Oliveira and Fernandes 2009, severity 1). */
const EYES: Record<string, readonly [Three, Three, Three]> = {
  'all cones': [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  protanopia: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deuteranopia: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.042940, 0.968881]],
  tritanopia: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
};
/** Linear sRGB to the tristimulus values of CIE, as shares of those of white. */
const TO_WHITE_XYZ: readonly [Three, Three, Three] = [[0.433953, 0.376219, 0.189828], [0.212671, 0.71516, 0.072169], [0.017758, 0.109477, 0.872765]];
/** Readers can distinguish two colors at this distance at a glance. */
const DISTANCE_MIN = 10;

const sum = (one: Three, other: Three): number => one[0] * other[0] + one[1] * other[1] + one[2] * other[2];
const times = (rows: readonly [Three, Three, Three], value: Three): Three => [sum(rows[0], value), sum(rows[1], value), sum(rows[2], value)];
const each = (value: Three, change: (channel: number) => number): Three => [change(value[0]), change(value[1]), change(value[2])];
const degrees = (angle: number): number => (angle * Math.PI) / 180;

function linear(hex: string): Three {
  const channel = (at: number): number => parseInt(hex.slice(at, at + 2), 16) / 255;
  return each([channel(1), channel(3), channel(5)], (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
}

/** Returns the CIELAB coordinates of a color as an eye sees it. */
function seen(hex: string, eye: readonly [Three, Three, Three]): Three {
  const reaching = each(times(eye, linear(hex)), (value) => Math.min(1, Math.max(0, value)));
  const [x, y, z] = each(times(TO_WHITE_XYZ, reaching), (value) => (value > 216 / 24_389 ? Math.cbrt(value) : ((24_389 / 27) * value + 16) / 116));
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

/** Returns the distance of two colors (CIEDE2000). */
function distance([l1, a1, b1]: Three, [l2, a2, b2]: Three): number {
  const sevenths = (chroma: number): number => Math.sqrt(chroma ** 7 / (chroma ** 7 + 25 ** 7));
  const stretch = 1.5 - 0.5 * sevenths((Math.hypot(a1, b1) + Math.hypot(a2, b2)) / 2);
  const chromas = [Math.hypot(a1 * stretch, b1), Math.hypot(a2 * stretch, b2)] as const;
  const hue = (a: number, b: number): number => ((Math.atan2(b, a * stretch) * 180) / Math.PI + 360) % 360;
  const [h1, h2] = [hue(a1, b1), hue(a2, b2)];
  const turn = ((h2 - h1 + 540) % 360) - 180;
  const lightness = (l1 + l2) / 2;
  const chroma = (chromas[0] + chromas[1]) / 2;
  const middle = (h1 + turn / 2 + 360) % 360;
  const weight =
    1 - 0.17 * Math.cos(degrees(middle - 30)) + 0.24 * Math.cos(degrees(2 * middle)) + 0.32 * Math.cos(degrees(3 * middle + 6)) - 0.2 * Math.cos(degrees(4 * middle - 63));
  const byLightness = (l2 - l1) / (1 + (0.015 * (lightness - 50) ** 2) / Math.sqrt(20 + (lightness - 50) ** 2));
  const byChroma = (chromas[1] - chromas[0]) / (1 + 0.045 * chroma);
  const byHue = (2 * Math.sqrt(chromas[0] * chromas[1]) * Math.sin(degrees(turn / 2))) / (1 + 0.015 * chroma * weight);
  const rotation = -2 * sevenths(chroma) * Math.sin(degrees(60 * Math.exp(-(((middle - 275) / 25) ** 2))));
  return Math.sqrt(byLightness ** 2 + byChroma ** 2 + byHue ** 2 + rotation * byChroma * byHue);
}

test('the distance of two colors is that of the published examples', () => {
  // Sharma, Wu and Dalal 2005, pairs 1, 7, 16, 17 and 25.
  const examples: [Three, Three, number][] = [
    [[50, 2.6772, -79.7751], [50, 0, -82.7485], 2.0425],
    [[50, 0, 0], [50, -1, 2], 2.3669],
    [[50, 2.5, 0], [50, 0, -2.5], 4.3065],
    [[50, 2.5, 0], [73, 25, -18], 27.1492],
    [[60.2574, -34.0099, 36.2677], [60.4626, -34.1751, 39.4387], 1.2644],
  ];
  for (const [one, other, expected] of examples) expect(distance(one, other)).toBeCloseTo(expected, 4);
  expect(seen('#ffffff', EYES['all cones']!)[0]).toBeCloseTo(100, 2);
});

test('no two colors of states look alike, whichever cones the reader lacks', () => {
  const css = readFileSync(new URL('../tokens.css', import.meta.url), 'utf8');
  const tokens = [...css.matchAll(/--(state-\w+): light-dark\((#\w{6}), (#\w{6})\)/g)].map(([, name, light, dark]) => ({ name, light: light ?? '', dark: dark ?? '' }));
  expect(tokens.length).toBe(7);
  const alike: string[] = [];
  for (const theme of ['light', 'dark'] as const) {
    for (const [lack, eye] of Object.entries(EYES)) {
      for (const [at, one] of tokens.entries()) {
        for (const other of tokens.slice(at + 1)) {
          const apart = distance(seen(one[theme], eye), seen(other[theme], eye));
          if (!(apart >= DISTANCE_MIN)) alike.push(`${theme}, ${lack}: ${one.name} and ${other.name} are ${apart.toFixed(1)} apart`);
        }
      }
    }
  }
  expect(alike).toEqual([]);
});

test('states of different colors have different shapes, so that they differ in gray', () => {
  const colorsOf = new Map<string, Set<string>>();
  for (const state of Object.keys(words.state)) {
    const { shape, colour } = lookOf(state);
    colorsOf.set(shape, (colorsOf.get(shape) ?? new Set()).add(colour));
  }
  expect([...colorsOf].filter(([, colors]) => colors.size > 1)).toEqual([]);
});
