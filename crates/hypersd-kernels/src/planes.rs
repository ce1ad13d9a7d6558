//! Feature maps: planes of pixels, channel by channel.

/// A view of feature maps `[batch, channels, height, width]`, or of two of them joined along the channels.
///
/// A network that joins a skip connection before a norm or a convolution need not copy the two together:
///
/// ```
/// use hypersd_kernels::Planes;
///
/// let (hidden, skip) = (vec![0.0; 2 * 3 * 20], vec![1.0; 2 * 1 * 20]);
/// let joined = Planes::new(&hidden, [2, 3, 4, 5]).join(&skip, 1);
/// assert_eq!(joined.channels(), 4);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Planes<'a> {
    batch: usize,
    height: usize,
    width: usize,
    first: (&'a [f32], usize),
    second: (&'a [f32], usize),
}

impl<'a> Planes<'a> {
    /// Views `values [batch, channels, height, width]`.
    ///
    /// # Panics
    /// If the shape does not fit the number of values.
    #[must_use]
    pub fn new(values: &'a [f32], [batch, channels, height, width]: [usize; 4]) -> Self {
        assert_eq!(
            values.len(),
            batch * channels * height * width,
            "values are not [{batch}, {channels}, {height}, {width}]"
        );
        Self { batch, height, width, first: (values, channels), second: (&[], 0) }
    }

    /// Appends the channels of `values [batch, channels, height, width]`.
    ///
    /// # Panics
    /// If the number of values is another, or two are joined already.
    #[must_use]
    pub fn join(self, values: &'a [f32], channels: usize) -> Self {
        assert_eq!(self.second.1, 0, "two feature maps are joined already");
        assert_eq!(
            values.len(),
            self.batch * channels * self.area(),
            "values are not [{}, {channels}, {}, {}]",
            self.batch,
            self.height,
            self.width
        );
        Self { second: (values, channels), ..self }
    }

    /// Images.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Channels, of both parts together.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.first.1 + self.second.1
    }

    /// Rows of pixels.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Pixels per row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Pixels of a plane.
    pub(crate) fn area(&self) -> usize {
        self.height * self.width
    }

    /// The pixels of `count` channels of one image, plane after plane, if all exist and lie in the same part.
    #[inline]
    pub(crate) fn neighbours(&self, image: usize, channel: usize, count: usize) -> Option<&'a [f32]> {
        let ((values, channels), channel) = self.part(channel);
        let start = (image * channels + channel) * self.area();
        (channel + count <= channels).then(|| &values[start..start + count * self.area()])
    }

    /// The part that a channel lies in, and its number there.
    #[inline]
    fn part(&self, channel: usize) -> ((&'a [f32], usize), usize) {
        if channel < self.first.1 { (self.first, channel) } else { (self.second, channel - self.first.1) }
    }

    /// The pixels of one channel of one image, row by row.
    #[inline]
    pub(crate) fn plane(&self, image: usize, channel: usize) -> &'a [f32] {
        let ((values, channels), channel) = self.part(channel);
        let start = (image * channels + channel) * self.area();
        &values[start..start + self.area()]
    }
}
