import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Record' });

export const screen: Screen = {
  paths: ['/log/:position'],
  title,
  needs: 'log:read',
  load: () => import('./Screen.svelte'),
};
